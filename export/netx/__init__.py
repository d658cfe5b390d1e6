"""netx .net files: written, read, and run by lava-dl's loader."""
