"""Fetching data sets: files with sizes and checksums, and lists of video ids through yt-dlp."""
