plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

val demo = rootDir.resolve("../maskconver_mobile/demo")
val copiedAssets = layout.buildDirectory.dir("copied-assets")
val copyAssets by tasks.registering(Copy::class) {
    from(demo) { include("*.tflite"); rename { "demo.tflite" } }
    from(demo) { include("*.jpg"); rename { "demo.jpg" } }
    from(rootDir.resolve("..")) { include("LICENSE"); rename { "apache-2.0.txt" } }
    into(copiedAssets)
}

android {
    namespace = "org.maskconver.mobile"
    compileSdk = extra["sdk.target"] as Int
    defaultConfig {
        applicationId = "org.maskconver.mobile"
        minSdk = extra["sdk.min"] as Int
        targetSdk = extra["sdk.target"] as Int
        versionName = extra["project"] as String
        versionCode = versionName!!.split('.').map(String::toInt).let { (major, minor, patch) -> major * 10000 + minor * 100 + patch }
        ndk { abiFilters += "arm64-v8a" }
    }
    buildTypes["release"].apply {
        isMinifyEnabled = true
        proguardFiles("proguard-rules.pro")
    }
    androidResources { noCompress += "tflite" }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    sourceSets["main"].kotlin.srcDir("src/main/kotlin")
    sourceSets["main"].assets.srcDir(copiedAssets)
}

tasks.named("preBuild") { dependsOn(copyAssets) }

kotlin { compilerOptions { jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11) } }

dependencies {
    implementation(project(":library"))
    // Benchmark.kt asks the runtime for its version.
    implementation("com.google.ai.edge.litert:litert:${extra["litert"]}")
}
