from django.urls import path

from users import api

app_name = "users"
urlpatterns = [
    path("users/", api.UserList.as_view(), name="api-user-list"),
    path("users/<int:pk>/", api.UserDetail.as_view(), name="api-user"),
    path("users/<int:pk>/tokens/", api.TokenList.as_view(), name="api-token-list"),
    path("users/<int:pk>/tokens/<slug:prefix>/", api.TokenDetail.as_view(), name="api-token"),
]
