// Reads protobuf's wire format in place.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace hvdrec {

// Iterates over the fields of one serialized message. Malformed data ends it, with `failed`.
class WireReader {
 public:
  enum Type : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  explicit WireReader(std::string_view message)
      : at_(message.data()), end_(message.data() + message.size()) {}

  bool failed() const { return failed_; }
  // Whether nothing is left (or what is left can't be read).
  bool done() const { return failed_ || at_ == end_; }

  // Number and type of the next field; false at the end.
  bool Next(uint32_t* number, uint32_t* type) {
    uint64_t tag;
    if (done() || !Varint(&tag)) return false;
    *type = static_cast<uint32_t>(tag & 7);
    *number = static_cast<uint32_t>(tag >> 3);
    if (tag > 0xffffffffu || *number == 0) return Fail();
    return true;
  }

  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && at_ < end_; shift += 7) {
      const uint8_t byte = static_cast<uint8_t>(*at_++);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return Fail();
  }

  bool Float(float* value) {
    if (end_ - at_ < 4) return Fail();
    std::memcpy(value, at_, 4);
    at_ += 4;
    return true;
  }

  bool Bytes(std::string_view* bytes) {
    uint64_t size;
    if (!Varint(&size)) return false;
    if (size > static_cast<uint64_t>(end_ - at_)) return Fail();
    *bytes = {at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }

  // Skips the value of a field.
  bool Skip(uint32_t type) {
    uint64_t number;
    std::string_view bytes;
    switch (type) {
      case kVarint:
        return Varint(&number);
      case kBytes:
        return Bytes(&bytes);
      case kFixed64:
      case kFixed32: {
        const int size = type == kFixed64 ? 8 : 4;
        if (end_ - at_ < size) return Fail();
        at_ += size;
        return true;
      }
      default:
        return Fail();
    }
  }

 private:
  bool Fail() {
    failed_ = true;
    return false;
  }

  const char* at_;
  const char* end_;
  bool failed_ = false;
};

// Calls use(bytes) for each field with that number in a message; use returns whether to continue.
// Returns whether the whole message could be read.
template <typename Use>
bool EachBytes(std::string_view message, uint32_t wanted, const Use& use) {
  WireReader reader(message);
  uint32_t number, type;
  while (reader.Next(&number, &type)) {
    std::string_view bytes;
    if (number != wanted || type != WireReader::kBytes) {
      if (!reader.Skip(type)) return false;
    } else if (!reader.Bytes(&bytes) || !use(bytes)) {
      return false;
    }
  }
  return !reader.failed();
}

// Splits an entry of a map<string, message>.
inline bool MapEntry(std::string_view entry, std::string_view* key, std::string_view* value) {
  *key = *value = {};
  WireReader reader(entry);
  uint32_t number, type;
  while (reader.Next(&number, &type)) {
    const bool known = type == WireReader::kBytes && (number == 1 || number == 2);
    if (!(known ? reader.Bytes(number == 1 ? key : value) : reader.Skip(type))) return false;
  }
  return !reader.failed();
}

}  // namespace hvdrec
