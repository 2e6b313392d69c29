"""Pure cores: values and `now` in, values out. No clock, no sockets, no asyncio, no global randomness."""
