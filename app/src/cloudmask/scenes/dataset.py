"""The public data set `cloud_slstr_ds1`: where it is kept, how it is laid out, how to get it."""

NAME = "cloud_slstr_ds1"
ENDPOINT = "https://s3.echo.stfc.ac.uk"  # an S3 store, read without credentials
BUCKET = "sciml-datasets"
PREFIX = f"es/{NAME}/"
LOCATION = f"s3://{BUCKET}/{PREFIX}"
HOME = f"{ENDPOINT}/{BUCKET}/{PREFIX}"
RETRIEVAL = "cloudmask-data --out data"

# Names of each part's folder: today's first, then those of older layouts.
PARTS = {"training": ("training", "one-day"), "inference": ("inference", "ssts")}
INFERENCE_SCENES = 100
INFERENCE_MONTH = "2019-10"
