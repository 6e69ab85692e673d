"""The trail: who changed what, who logged in or failed to, when and from where. Rows are only ever added.

Triggers write the changes (see the migrations), so bulk changes and plain SQL are in it; `acting` tells them
who acts. `notes` adds what no row shows, such as a wrong password.
"""
