"""What the output of a network means: classes, values, labels; and how well they are met."""
