"""An agent as a task of Celery, whose worker is another process.

CAUSEPATH=1 celery --app celery_task worker     then: python celery_task.py
"""

from __future__ import annotations

from pathlib import Path

from celery import Celery
from weather_agent import ask

FOLDER = Path("queue").absolute()  # in the place of a broker
FOLDER.mkdir(exist_ok=True)

app = Celery("weather", broker="filesystem://", backend=f"file://{FOLDER}")
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER),
    "data_folder_out": str(FOLDER),
    "control_folder": str(FOLDER / "control"),
}


@app.task(name="answer")  # here it is sent by this very file, whose module is called otherwise
def answer(question: str) -> str:
    return ask(question)


if __name__ == "__main__":
    print(answer.delay("Do I need an umbrella in Lisbon?").get(timeout=60))
