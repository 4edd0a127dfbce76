"""The routes, by what a client wants: to hand in, to follow, to fetch."""
