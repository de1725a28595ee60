"""Label problems of a run's pictures: ranked with the model's help, reviewed on a page, decided, retrained."""
