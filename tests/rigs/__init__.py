"""Real servers for the tests: two object stores on the loopback, and a proxy that breaks their answers."""
