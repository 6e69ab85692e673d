from django.contrib.auth import views as auth
from django.urls import path

from users import api

app_name = "users"
urlpatterns = [
    path("users/", api.UserList.as_view(), name="api-user-list"),
    path("users/<int:pk>/", api.UserDetail.as_view(), name="api-user"),
    path("users/<int:pk>/tokens/", api.TokenList.as_view(), name="api-token-list"),
    path("users/<int:pk>/tokens/<slug:prefix>/", api.TokenDetail.as_view(), name="api-token"),
    path(
        "portal/login/",
        auth.LoginView.as_view(template_name="users/login.html", redirect_authenticated_user=False),
        name="login",
    ),
    path("portal/logout/", auth.LogoutView.as_view(), name="logout"),
]
