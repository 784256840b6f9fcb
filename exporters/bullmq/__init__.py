"""BullMQ: job queues in Redis."""
