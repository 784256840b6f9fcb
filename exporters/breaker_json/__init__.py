"""Circuit breakers that an application publishes as JSON health."""
