"""People's own accounts, on django-allauth: second factor, sessions, password, email, tokens, invitations.

A user's email is `User.email` and nothing else: allauth's table of addresses stays empty. There are no two
truths about where a password may be reset.

- `adapters` bends allauth to this portal; `analytics.activity.sessions` notes log-ins and log-outs.
- `lockout` slows down guessing of passwords, with django-axes; `addresses` says who is asking.
- `email_change` and `invitations` hold rules; `views`, `token_views` and `invitation_views` are the pages.
"""
