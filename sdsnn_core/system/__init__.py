"""What the operating system gives: compiled code that is kept between runs, and child processes with limits."""
