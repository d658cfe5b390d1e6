"""From a Network to the forms that others read: NIR, Lava processes, and the proof that all of them spike alike."""
