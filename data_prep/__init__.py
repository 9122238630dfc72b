"""Offline preparation: videos in, TFRecords out (PyTorch, ffmpeg, Beam). Never imported by mvgen."""
