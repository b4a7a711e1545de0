"""What the shop keeps."""

from django.conf import settings
from django.db import models


class Order(models.Model):
    """Something that somebody has bought."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    sku = models.CharField(max_length=40)
