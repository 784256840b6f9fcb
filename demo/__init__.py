"""A small platform with faults on a switch: an API, a worker, a BullMQ queue, a cache and a circuit breaker."""
