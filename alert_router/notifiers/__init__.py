"""One module per destination kind. A notifier sends one message or raises one of the delivery errors."""
