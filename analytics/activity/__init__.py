"""What people do in the portal: blogs, posts, logged events, and the two datasets computed from the logs.

An event (`events.event`) reaches the logs on one of two ways:

- The portal notes its own in the outbox, `models.PendingEvent`, in the transaction of what happened. Then
  `events.outbox` asks a worker, whose `events.delivery` moves waiting events into the logs.
- A sender posts events (`api`), or a file brings them (`events.importer`). `events.intake` checks them, and
  they are stored at once.

The logs are kept behind `storage.interface`, in a PostgreSQL database of their own or in ClickHouse. They
store each event once by its id. `datasets` reads them.
"""
