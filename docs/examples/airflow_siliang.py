"""Airflow: raw text in a bucket -> corpus -> model. Every task may be retried; each goes on from what is finished.

The worker needs siliang in its Python (or runs these commands in a pod of the images of docker/).
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

PREPARE = (
    "siliang-pipeline prepare gs://bucket/raw --output gs://bucket/corpus --progress plain --progress-seconds 60 "
    "--runner DataflowRunner -- --project=PROJECT --region=REGION --temp_location=gs://bucket/tmp "
    "--sdk_container_image=REGION-docker.pkg.dev/PROJECT/siliang/pipeline"
)
TRAIN = "siliang-trainer train gs://bucket/corpus --output /runs/base --preset base --resume --progress plain"
EVALUATE = "siliang-trainer evaluate /runs/base --json"

with DAG(
    dag_id="siliang",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    # Exit code 99 would skip; 1 and 2 fail, and 2 fails again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
) as dag:
    prepare = BashOperator(task_id="prepare", bash_command=PREPARE, execution_timeout=timedelta(hours=24))
    train = BashOperator(task_id="train", bash_command=TRAIN, execution_timeout=timedelta(days=4))
    evaluate = BashOperator(task_id="evaluate", bash_command=EVALUATE)
    prepare >> train >> evaluate
