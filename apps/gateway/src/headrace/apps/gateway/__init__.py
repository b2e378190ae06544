"""The gateway process: settings in, HTTP out."""
