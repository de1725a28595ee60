"""Pictures in, a trained fastai Learner out. Never installed on the device's account."""
