"""KafkaInput: lines of text that arrive in a topic of Apache Kafka."""
