"""The shop's pages."""

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, JsonResponse

from eventspool.integrations.django import track
from shop.models import Order


def order(request: HttpRequest) -> JsonResponse:
    """Order something. The event is sent if the order is committed; what is sold out is rolled back."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    sku = request.GET["sku"]
    with transaction.atomic():
        made = Order.objects.create(user=request.user, sku=sku)
        event = track(event="Order Completed", properties={"order_id": made.pk, "sku": sku})
        if sku == "sold-out":
            transaction.set_rollback(True)
    return JsonResponse({"event": event})


async def look(request: HttpRequest, sku: str) -> JsonResponse:
    """Look at something, on the event loop of an ASGI server."""
    if not (await request.auser()).is_authenticated:
        raise PermissionDenied
    return JsonResponse({"event": track(event="Product Viewed", properties={"sku": sku})})
