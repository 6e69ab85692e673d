from django.urls import path

from analytics.activity import api, sessions, views

app_name = "activity"
urlpatterns = [
    path("api/comments/", api.Comments.as_view(), name="api-comments"),
    path("api/general/", api.General.as_view(), name="api-general"),
    path("api/activity/", api.Activity.as_view(), name="api-activity"),
    path("api/blogs/", api.BlogList.as_view(), name="api-blog-list"),
    path("api/blogs/<int:pk>/", api.BlogDetail.as_view(), name="api-blog"),
    path("api/posts/", api.PostList.as_view(), name="api-post-list"),
    path("api/posts/<int:pk>/", api.PostDetail.as_view(), name="api-post"),
    path("portal/activity/", views.activity, name="activity"),
    path("portal/login/", sessions.LogIn.as_view(), name="login"),
    path("portal/logout/", sessions.LogOut.as_view(), name="logout"),
]
