"""The shop's addresses."""

from django.urls import path

from shop import views

urlpatterns = [path("orders/", views.order), path("products/<str:sku>/", views.look)]
