"""Probes live peers step by step, taps connections between others, and says what is wrong."""
