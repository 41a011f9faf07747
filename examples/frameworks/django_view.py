"""A Django application in one file, whose view asks an agent.

CAUSEPATH=1 python django_view.py runserver     then: curl "localhost:8000/ask?question=Umbrella"
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path
from weather_agent import ask

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"], DEBUG=True, ROOT_URLCONF="django_view", SECRET_KEY="of an example"
    )


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ask(request.GET["question"]))


urlpatterns = [path("ask", answer)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
