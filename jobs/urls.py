"""Where the pages of `jobs` are: `path("jobs/", include("jobs.urls"))`."""

from django.urls import path

from jobs import views

app_name = "jobs"
urlpatterns = [
    path("", views.job_list, name="job-list"),
    path("pools/", views.pool_list, name="pool-list"),
    path("<uuid:job_id>/", views.job_detail, name="job-detail"),
    path("<uuid:job_id>/image/", views.job_image, name="job-image"),
    path("<uuid:job_id>/cancel/", views.job_cancel, name="job-cancel"),
    path("<uuid:job_id>/pause/", views.job_pause, name="job-pause"),
    path("<uuid:job_id>/resume/", views.job_resume, name="job-resume"),
    path("<uuid:job_id>/retry/", views.job_retry, name="job-retry"),
]
