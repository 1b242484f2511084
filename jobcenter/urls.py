"""Where the pages are: the admin under /admin/, everything of the app `jobs` below /jobs/, and / leads there."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

admin.site.site_header = admin.site.site_title = "jobcenter"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="jobs:job-list")),
    path("favicon.ico", RedirectView.as_view(url=static("jobs/icon.svg"))),  # asked for by pages that name no icon
    path("jobs/", include("jobs.urls")),
    path("accounts/login/", LoginView.as_view(template_name="jobcenter/login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(template_name="jobcenter/signed_out.html"), name="logout"),
    path("admin/", admin.site.urls),
]
