"""Many runs of one configuration, spread over the workers of a Dask cluster: `sdsnn sweep`."""
