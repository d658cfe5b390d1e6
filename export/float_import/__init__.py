"""Float NIR graphs of other tools, turned into a Network of integers."""
