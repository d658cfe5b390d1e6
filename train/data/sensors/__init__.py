"""Sensor data sets: touch, speech, electrocardiograms and time series, and the codes that make spikes of signals."""
