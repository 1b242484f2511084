"""The pages: a list of jobs, one job, its picture, the requests a person may post, and the pools.

They work without JavaScript and without a broker: everything shown comes from the database.
"""

from jobs.web.pages.actions import job_cancel, job_pause, job_resume, job_retry
from jobs.web.pages.detail import job_detail
from jobs.web.pages.listing import job_list
from jobs.web.pages.pictures import job_image
from jobs.web.pages.pools import pool_list

__all__ = [
    "job_cancel",
    "job_detail",
    "job_image",
    "job_list",
    "job_pause",
    "job_resume",
    "job_retry",
    "pool_list",
]
