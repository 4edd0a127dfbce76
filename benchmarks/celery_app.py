"""Celery with its own settings, but for where Redis is."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.crop_one import crop_one

app = Celery(
    "benchmarks.celery_app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"]
)
crop_one_by_celery = app.task(name="crop-one")(crop_one)
