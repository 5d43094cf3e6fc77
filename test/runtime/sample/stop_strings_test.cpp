#include "runtime/sample/stop_strings.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

StopStrings make(std::vector<std::string> strings) {
  auto stop = StopStrings::create(std::move(strings));
  EXPECT_TRUE(stop.ok());
  return std::move(*stop);
}

/// What each part lets through, separated by '|'; '#' where a stop string was found, then what finish()
/// gives.
std::string feed(std::vector<std::string> strings, const std::vector<std::string> &parts) {
  StopStrings stop = make(std::move(strings));
  std::string all;
  for (const std::string &part : parts) {
    std::string out;
    const bool found = stop.append(part, &out);
    all += out + (found ? "#" : "|");
    if (found)
      return all;
  }
  stop.finish(&all);
  return all;
}

TEST(StopStrings, FindsOneAcrossParts) {
  EXPECT_EQ(feed({"END"}, {"aE", "N", "D b"}), "a||#");
  EXPECT_EQ(feed({"END"}, {"abEND"}), "ab#");
}

TEST(StopStrings, LetsGoWhatTurnsOutToBeText) {
  EXPECT_EQ(feed({"END"}, {"aE", "N", "x"}), "a||ENx|");
  EXPECT_EQ(feed({"END"}, {"aEN"}), "a|EN");
  EXPECT_EQ(feed({"aab"}, {"aaa", "b"}), "a|#");
}

TEST(StopStrings, TheFirstMatchInTheTextCounts) {
  EXPECT_EQ(feed({"abcd", "bc"}, {"abc"}), "a#");
  EXPECT_EQ(feed({"b", "ab"}, {"xab"}), "x#");
}

TEST(StopStrings, NothingIsHeldWithoutStrings) { EXPECT_EQ(feed({}, {"a", "b"}), "a|b|"); }

TEST(StopStrings, RefusesEmptyAndIllFormedStrings) {
  EXPECT_EQ(StopStrings::create({"a", ""}).status().message(),
            "stop string 1: expected UTF-8 text, got nothing");
  EXPECT_EQ(StopStrings::create({"\xFF"}).status().message(),
            "stop string 0: expected UTF-8 text, got ill-formed bytes");
}

} // namespace
} // namespace bitnet::runtime
