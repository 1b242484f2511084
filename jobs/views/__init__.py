"""The pages: a list of jobs, one job, its picture, and the two requests a person may post.

They work without JavaScript and without a broker: everything shown comes from the database.
"""

from jobs.views.detail import job_detail
from jobs.views.listing import job_list
from jobs.views.pictures import job_image
from jobs.views.steering import job_cancel, job_retry

__all__ = ["job_cancel", "job_detail", "job_image", "job_list", "job_retry"]
