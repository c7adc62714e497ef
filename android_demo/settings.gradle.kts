// For Android Studio. Untried: the project itself is built and tested by Maven (`make android`, `make android-test`), because
// Google's repository cannot be reached where it is developed. Same sources; the versions are those of pom.xml.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
    val versions = Regex("<([a-z0-9.]+)\\.version>([^<]+)</").findAll(rootDir.resolve("pom.xml").readText()).associate { it.groupValues[1] to it.groupValues[2] }
    plugins {
        id("com.android.application") version versions.getValue("agp")
        id("com.android.library") version versions.getValue("agp")
        id("org.jetbrains.kotlin.android") version versions.getValue("kotlin")
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "maskconver-mobile"
include(":library", ":app")
