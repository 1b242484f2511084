"""The pages: a list of jobs, one job, its picture, the requests a person may post, and the pools.

They work without JavaScript and without a broker: everything shown comes from the database.
"""

from jobs.views.detail import job_detail
from jobs.views.listing import job_list
from jobs.views.pictures import job_image
from jobs.views.pools import pool_list
from jobs.views.steering import job_cancel, job_pause, job_resume, job_retry

__all__ = [
    "job_cancel", "job_detail", "job_image", "job_list", "job_pause", "job_resume", "job_retry", "pool_list",
]  # fmt: skip
