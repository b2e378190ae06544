"""The HTTP side of Headrace: it turns vendor-shaped calls into requests, and events into vendor-shaped answers."""
