"""The zoo: small trained networks that come with the package, and their names: `zoo:digits`."""
