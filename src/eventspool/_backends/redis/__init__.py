"""The queue in Redis or Valkey: a commit is one transaction, and every other step is one Lua script."""
