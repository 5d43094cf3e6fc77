// Status text on its way to C: one line, cut at a character, nothing thrown.
#include "runtime/base/status.h"
#include <cstring>
#include <gtest/gtest.h>
#include <stdexcept>

namespace bitnet::runtime {
namespace {

TEST(Status, GetsContextOnTheWayUp) {
  EXPECT_EQ(bad_bundle("index: broken").in("a.bnx").message(), "a.bnx: index: broken");
  EXPECT_TRUE(Status().in("a.bnx").ok());
}

TEST(Status, BecomesOneLineOfC) {
  bitnet_error error;
  EXPECT_EQ(to_c(not_found("two\nlines"), &error), BITNET_NOT_FOUND);
  EXPECT_STREQ(error.message, "two lines");
  EXPECT_EQ(to_c(Status(), &error), BITNET_OK);
  EXPECT_STREQ(error.message, "");
  EXPECT_EQ(to_c(not_found("x"), nullptr), BITNET_NOT_FOUND);
}

TEST(Status, IsNotCutInsideACharacter) {
  bitnet_error error;
  const std::string text =
      std::string(sizeof error.message - 2, 'x') + "\xc3\xa4"; // its 2nd byte does not fit
  to_c(internal_error(text), &error);
  EXPECT_EQ(std::strlen(error.message), sizeof error.message - 2);
}

TEST(Status, CatchesWhatIsThrown) {
  bitnet_error error;
  EXPECT_EQ(at_c_border(&error, []() -> Status { throw std::bad_alloc(); }), BITNET_OUT_OF_MEMORY);
  EXPECT_EQ(at_c_border(&error, []() -> Status { throw std::runtime_error("x"); }), BITNET_INTERNAL);
  EXPECT_STREQ(error.message, "unexpected exception");
}

} // namespace
} // namespace bitnet::runtime
