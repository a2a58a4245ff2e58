"""The admin listener: the page, metrics, and an API of how the gateway is, for its operator alone."""
