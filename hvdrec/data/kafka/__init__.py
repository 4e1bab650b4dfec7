"""KafkaInput: lines of text from a topic of Apache Kafka."""
