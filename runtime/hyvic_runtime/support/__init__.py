"""What has nothing to do with scenes or codecs."""
