"""Makes the database of the example's shop in Django, with 200 users, and prints the cookie of each as JSON."""

from __future__ import annotations

import json
from importlib import import_module

import django
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402 - not before Django is set up

names = {number + 1: f"user-{number}" for number in range(200)}
User.objects.bulk_create(User(pk=pk, username=name, password="!") for pk, name in names.items())
Store = import_module(settings.SESSION_ENGINE).SessionStore
cookies = {}
for user in User.objects.all():
    session = Store()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    cookies[str(user.pk)] = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
print(json.dumps(cookies))
