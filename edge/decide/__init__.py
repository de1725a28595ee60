"""Decision: from scores over time to the moment a bear is certain."""
