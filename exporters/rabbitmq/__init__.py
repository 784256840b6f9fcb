"""RabbitMQ: queues of a broker or a cluster."""
